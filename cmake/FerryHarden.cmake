# What makes a mistake harder to use: ferry_harden(target), of all that is shipped and tested. Under
# sanitizers, which look for the mistakes themselves, and for coverage it is off.
#
# The stack protector; the C library's checked functions (where the compiler optimises, and has not
# turned them on itself); no stack that is skipped over; branch targets that the processor checks;
# programs at random addresses; all of what the linker fills in read-only before the first instruction.
include(CheckCCompilerFlag)
include(CheckCSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)

option(FERRY_HARDENING "Build with the compiler's and the linker's protections" ON)
set(FERRY_HARDEN_COMPILE "")
set(FERRY_HARDEN_LINK "")
set(FERRY_HARDENED OFF)
if(FERRY_HARDENING AND NOT FERRY_SANITIZE AND NOT FERRY_COVERAGE)
  set(FERRY_HARDENED ON)
  check_pie_supported(LANGUAGES C)
  set(flags -fstack-protector-strong -fstack-clash-protection)
  if(NOT APPLE) # there the system wants other architectures for it
    list(APPEND flags -fcf-protection=full -mbranch-protection=standard)
  endif()
  set(CMAKE_REQUIRED_FLAGS -Werror) # Clang takes some that mean nothing for its target, with a warning
  foreach(flag IN LISTS flags)
    string(MAKE_C_IDENTIFIER "FERRY_HAS${flag}" has)
    check_c_compiler_flag(${flag} ${has})
    if(${has})
      list(APPEND FERRY_HARDEN_COMPILE ${flag})
    endif()
  endforeach()
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT APPLE)
    foreach(flag relro now noexecstack)
      check_linker_flag(C -Wl,-z,${flag} FERRY_HAS_Z_${flag})
      if(FERRY_HAS_Z_${flag})
        list(APPEND FERRY_HARDEN_LINK -Wl,-z,${flag})
      endif()
    endforeach()
  endif()
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror")
  check_c_source_compiles("#include <stdio.h>\n#ifndef _FORTIFY_SOURCE\n#error off\n#endif\nint main(void) { return 0; }"
                          FERRY_FORTIFY_IS_ON)
  set(CMAKE_REQUIRED_DEFINITIONS -D_FORTIFY_SOURCE=3)
  if(NOT FERRY_FORTIFY_IS_ON)
    check_c_source_compiles("#include <stdio.h>\nint main(void) { return 0; }" FERRY_HAS_FORTIFY_3)
    set(level 2)
    if(FERRY_HAS_FORTIFY_3)
      set(level 3)
    endif()
    list(APPEND FERRY_HARDEN_COMPILE
      $<$<OR:$<CONFIG:Release>,$<CONFIG:RelWithDebInfo>,$<CONFIG:MinSizeRel>>:-D_FORTIFY_SOURCE=${level}>)
  endif()
  unset(CMAKE_REQUIRED_FLAGS)
  unset(CMAKE_REQUIRED_DEFINITIONS)
endif()

function(ferry_harden target)
  if(FERRY_HARDENED)
    target_compile_options(${target} PRIVATE ${FERRY_HARDEN_COMPILE})
    target_link_options(${target} PRIVATE ${FERRY_HARDEN_LINK})
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  endif()
endfunction()
