# Which sources make the library, and which drivers are in it.
#
# Globbed, with CONFIGURE_DEPENDS: a folder is a layer, every .c in it belongs to the library, and a
# new noun is a new file, not a new line here as well. What is for one system only says so in its
# name: x_linux.c, x_macos.c. Everything else is for both.
function(ferry_sources out)
  file(GLOB sources CONFIGURE_DEPENDS LIST_DIRECTORIES false ${ARGN})
  if(APPLE)
    list(FILTER sources EXCLUDE REGEX "_linux\\.c$")
  else()
    list(FILTER sources EXCLUDE REGEX "_macos\\.c$")
  endif()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()

# The drivers there are, the best first. The one for Metal needs macOS to find a device; elsewhere it
# is in developers' builds, whose tests run it on a simulator. A folder without sources is a driver
# that is not there, and has no option.
set(FERRY_DRIVERS metal vulkan host)
set(FERRY_DRIVER_DEFAULT_metal OFF)
if(APPLE OR FERRY_TESTS)
  set(FERRY_DRIVER_DEFAULT_metal ON)
endif()
set(FERRY_DRIVER_DEFAULT_vulkan ON)
find_path(FERRY_VULKAN_INCLUDE vulkan/vulkan_core.h)
if(APPLE)
  set(FERRY_DRIVER_DEFAULT_vulkan OFF)
elseif(NOT FERRY_VULKAN_INCLUDE AND NOT FERRY_TESTS)
  set(FERRY_DRIVER_DEFAULT_vulkan OFF)
  message(STATUS "vulkan: not in this build (no vulkan/vulkan_core.h; Debian: libvulkan-dev)")
endif()
set(FERRY_DRIVER_DEFAULT_host ON)

ferry_sources(FERRY_LIBRARY_SOURCES ${PROJECT_SOURCE_DIR}/src/*.c)
set(FERRY_DRIVERS_IN "")
set(declarations "")
set(entries "")
set(all_names "")
foreach(driver IN LISTS FERRY_DRIVERS)
  string(TOUPPER ${driver} upper)
  ferry_sources(sources ${PROJECT_SOURCE_DIR}/drivers/${driver}/*.c)
  if(NOT sources)
    if(FERRY_DRIVER_${upper})
      message(FATAL_ERROR "FERRY_DRIVER_${upper}: there is no such driver in this source tree")
    endif()
    continue()
  endif()
  string(APPEND all_names "    \"${driver}\",\n")
  # -DFERRY_DRIVER_X=ON or OFF. Not kept where it was not given: the default follows FERRY_TESTS.
  if(NOT DEFINED FERRY_DRIVER_${upper})
    set(FERRY_DRIVER_${upper} ${FERRY_DRIVER_DEFAULT_${driver}})
  endif()
  if(FERRY_DRIVER_${upper})
    list(APPEND FERRY_DRIVERS_IN ${driver})
    list(APPEND FERRY_LIBRARY_SOURCES ${sources})
    string(APPEND declarations "extern const struct ferry__driver ferry__${driver}_driver;\n")
    string(APPEND entries "    &ferry__${driver}_driver,\n")
  endif()
endforeach()

list(APPEND FERRY_LIBRARY_SOURCES ${PROJECT_BINARY_DIR}/generated/drivers.c)
list(JOIN FERRY_DRIVERS_IN " " FERRY_BUILD_DRIVERS)
message(STATUS "Ferry ${PROJECT_VERSION}, drivers: ${FERRY_BUILD_DRIVERS}")
