# cpack: the Debian packages libferry1, libferry-dev and ferry-tools, and those with debugging symbols.
# scripts/package.sh makes them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME ferry)
set(CPACK_PACKAGE_VENDOR "Ferry")
set(CPACK_PACKAGE_CONTACT "The Ferry developers <ferry@example.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL library development)
if(FERRY_CLI)
  list(APPEND CPACK_COMPONENTS_ALL tools)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
foreach(part triton wire)
  if(TARGET ferry_${part})
    list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/${part})
  endif()
endforeach()
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libferry${FERRY_ABI})
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "The shared library.")
# Opened when they are needed, so that nothing depends on them: without the loader no GPU is found,
# without UCX and OpenSSL there is no wire.
set(opened "")
if("vulkan" IN_LIST FERRY_DRIVERS_IN)
  list(APPEND opened libvulkan1)
endif()
if(TARGET ferry_wire)
  list(APPEND opened libucx0 libssl3)
endif()
list(JOIN opened ", " CPACK_DEBIAN_LIBRARY_PACKAGE_RECOMMENDS)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libferry-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "Headers, the static library, and what CMake and pkg-config need.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "libferry${FERRY_ABI} (= ${PROJECT_VERSION})")
set(static "") # of programs that link the static library
if(FERRY_URING_FOUND)
  list(APPEND static liburing-dev)
endif()
list(JOIN static ", " CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS)

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME ferry-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "The command ferry.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libferry${FERRY_ABI} (= ${PROJECT_VERSION})")

# Debugging symbols go to packages of their own, where the build has them; else they are dropped.
if(CMAKE_BUILD_TYPE MATCHES "Deb")
  set(CPACK_DEBIAN_LIBRARY_DEBUGINFO_PACKAGE ON)
  set(CPACK_DEBIAN_TOOLS_DEBUGINFO_PACKAGE ON)
else()
  set(CPACK_STRIP_FILES ON)
endif()

# What Debian wants beside the files: licence and changes in each package, and of the library which
# package a program needs that links it (shlibs; symbols, each since when), and that the loader's
# cache is brought up to date (triggers).
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(component_packages library libferry${FERRY_ABI} development libferry-dev tools ferry-tools)
  while(component_packages)
    list(POP_FRONT component_packages component package)
    set(changes ${PROJECT_BINARY_DIR}/generated/${package}/changelog)
    string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
    file(WRITE ${changes} "ferry (${PROJECT_VERSION}) unstable; urgency=medium\n\n"
      "  * See CHANGELOG.md in the sources.\n\n"
      " -- ${CPACK_PACKAGE_CONTACT}  ${now}\n")
    execute_process(COMMAND gzip -9nf ${changes})
    install(FILES ${changes}.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package}
      COMPONENT ${component})
    install(FILES ${PROJECT_SOURCE_DIR}/LICENSE RENAME copyright
      DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
  endwhile()

  set(control ${PROJECT_BINARY_DIR}/debian)
  file(MAKE_DIRECTORY ${control})
  file(WRITE ${control}/triggers "activate-noawait ldconfig\n")
  set(libraries $<TARGET_FILE:ferry>)
  set(needed "libferry${FERRY_ABI} (>= ${PROJECT_VERSION})")
  file(WRITE ${control}/shlibs "libferry ${FERRY_ABI} ${needed}\n")
  if(TARGET ferry_triton)
    list(APPEND libraries $<TARGET_FILE:ferry_triton>)
    file(APPEND ${control}/shlibs "libferry_triton ${FERRY_ABI} ${needed}\n")
  endif()
  if(TARGET ferry_wire)
    list(APPEND libraries $<TARGET_FILE:ferry_wire>)
    file(APPEND ${control}/shlibs "libferry_wire ${FERRY_ABI} ${needed}\n")
  endif()
  add_custom_target(ferry_debian_symbols ALL
    COMMAND ${PROJECT_SOURCE_DIR}/packaging/debian/symbols.sh libferry${FERRY_ABI}
            ${PROJECT_VERSION} ${libraries} > ${control}/symbols VERBATIM)
  add_dependencies(ferry_debian_symbols ferry)
  foreach(target ferry_triton ferry_wire)
    if(TARGET ${target})
      add_dependencies(ferry_debian_symbols ${target})
    endif()
  endforeach()
  set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA
    ${control}/shlibs ${control}/symbols ${control}/triggers)
endif()
include(CPack)
