# How everything of ours is compiled: ferry_compile(target).
if(FERRY_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(FERRY_CCACHE ccache)
  if(FERRY_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${FERRY_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${FERRY_CCACHE})
  endif()
endif()

# For the whole folder: a program and the libraries in it must be of the same kind.
if(FERRY_SANITIZE)
  set(flags -fsanitize=${FERRY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${flags})
  add_link_options(${flags})
endif()
if(FERRY_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

# GCC zeroes and copies structs of some 100 bytes by x86's string instructions, which begin slowly: 25
# cycles where a few stores do.
include(CheckCCompilerFlag)
set(FERRY_COMPILE_FLAGS "")
set(CMAKE_REQUIRED_FLAGS -Werror)
foreach(what memset memcpy)
  set(flag -m${what}-strategy=unrolled_loop:256:noalign,libcall:-1:noalign)
  check_c_compiler_flag(${flag} FERRY_HAS_${what}_STRATEGY)
  if(FERRY_HAS_${what}_STRATEGY)
    list(APPEND FERRY_COMPILE_FLAGS ${flag})
  endif()
endforeach()
unset(CMAKE_REQUIRED_FLAGS)

function(ferry_compile target)
  # gnu11: the language is C11, and the system's headers show POSIX.
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON
    CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra ${FERRY_COMPILE_FLAGS})
  ferry_harden(${target})
  if(FERRY_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
