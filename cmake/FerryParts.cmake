# What is optional in the library, and its parts beside its core.
#
# io_uring reads and writes files, through liburing; without it threads do.
option(FERRY_URING "Read and write files by io_uring, if liburing is there" ON)
option(FERRY_URING_STATIC "Link liburing's archive into the library" OFF)
set(FERRY_URING_FOUND OFF)
set(FERRY_FILE_LIBRARIES "")
if(FERRY_URING)
  find_package(PkgConfig)
  if(PkgConfig_FOUND)
    pkg_check_modules(URING liburing>=2.0)
    set(FERRY_URING_FOUND ${URING_FOUND})
  endif()
endif()
if(FERRY_URING_FOUND AND FERRY_URING_STATIC)
  find_library(FERRY_URING_ARCHIVE liburing.a HINTS ${URING_LIBRARY_DIRS})
  set(URING_LINK_LIBRARIES ${FERRY_URING_ARCHIVE})
  if(NOT FERRY_URING_ARCHIVE)
    set(FERRY_URING_FOUND OFF)
  endif()
endif()
if(FERRY_URING_FOUND)
  list(FILTER FERRY_LIBRARY_SOURCES EXCLUDE REGEX "file_uring_none\\.c$")
  set(FERRY_FILE_LIBRARIES ${URING_LINK_LIBRARIES})
else()
  list(FILTER FERRY_LIBRARY_SOURCES EXCLUDE REGEX "file_uring\\.c$")
  message(STATUS "files: read and written by threads (no liburing)")
endif()

# DLPack, and the reader of model files.
ferry_sources(models ${PROJECT_SOURCE_DIR}/models/*.c)
set(FERRY_MODEL_SOURCES ${models})
list(APPEND FERRY_LIBRARY_SOURCES ${models})


# What ferry_build_libraries tells, and the drivers.
set(FERRY_BUILD_LIBRARIES "")
if(FERRY_URING_FOUND)
  set(FERRY_BUILD_LIBRARIES "liburing ${URING_VERSION}")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/drivers.c.in ${PROJECT_BINARY_DIR}/generated/drivers.c)
