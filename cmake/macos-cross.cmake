# A toolchain for macOS on Linux: Debian's clang and ld64.lld, and the folder that
# scripts/macos_cross.sh makes of macOS's C headers. FERRY_MACOS_ARCH: arm64 or x86_64.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_VERSION 22.0)
set(CMAKE_SYSTEM_PROCESSOR ${FERRY_MACOS_ARCH})
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FERRY_MACOS_ARCH FERRY_MACOS_SDK)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(CMAKE_C_COMPILER clang)
set(CMAKE_CXX_COMPILER clang++)
set(CMAKE_C_COMPILER_TARGET ${FERRY_MACOS_ARCH}-apple-macos13.0)
set(CMAKE_CXX_COMPILER_TARGET ${FERRY_MACOS_ARCH}-apple-macos13.0)
set(CMAKE_SYSROOT ${FERRY_MACOS_SDK})
# What GNU's ar makes has no list of Mach-O symbols, by which the linker takes what it needs.
set(CMAKE_AR llvm-ar)
set(CMAKE_RANLIB llvm-ranlib)
# Nothing is installed.
foreach(tool NM INSTALL_NAME_TOOL OTOOL STRIP)
  set(CMAKE_${tool} /bin/false)
endforeach()
# CMake asks for these by their Apple names.
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "")
set(CMAKE_OSX_SYSROOT "" CACHE STRING "")
set(CMAKE_OSX_DEPLOYMENT_TARGET 13.0 CACHE STRING "")
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT
    "-fuse-ld=lld -Wl,-platform_version,macos,13.0,13.0")
endforeach()
