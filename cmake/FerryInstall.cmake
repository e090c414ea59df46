# cmake --install: libraries, headers, ferry.pc, find_package(Ferry), man pages. The components are
# the packages of cmake/FerryPackage.cmake: library, development, tools.
include(CMakePackageConfigHelpers)

# Man pages; under /usr, where packages put them, compressed, as Debian has them.
function(ferry_install_compressed file folder component)
  get_filename_component(name ${file} NAME)
  if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    install(FILES ${file} DESTINATION ${folder} COMPONENT ${component})
    return()
  endif()
  set(compressed ${PROJECT_BINARY_DIR}/generated/${name}.gz)
  add_custom_command(OUTPUT ${compressed} COMMAND gzip -9nc ${file} > ${compressed}
    DEPENDS ${file} VERBATIM)
  add_custom_target(ferry_${name}_gz ALL DEPENDS ${compressed})
  install(FILES ${compressed} DESTINATION ${folder} COMPONENT ${component})
endfunction()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Ferry)

install(TARGETS ferry ferry_static EXPORT FerryTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
          NAMELINK_COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ferry DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development)
install(EXPORT FerryTargets NAMESPACE Ferry:: DESTINATION ${package} COMPONENT development)
ferry_install_compressed(${PROJECT_SOURCE_DIR}/man/ferry.3 ${CMAKE_INSTALL_MANDIR}/man3 development)
ferry_install_compressed(${PROJECT_SOURCE_DIR}/man/ferry-environment.7
  ${CMAKE_INSTALL_MANDIR}/man7 tools)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/FerryConfig.cmake.in
  ${PROJECT_BINARY_DIR}/generated/FerryConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/FerryConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/generated/FerryConfig.cmake
              ${PROJECT_BINARY_DIR}/generated/FerryConfigVersion.cmake
  DESTINATION ${package} COMPONENT development)

# ferry.pc finds its prefix from its own place, so that the installed tree can be moved.
set(root /ferry)
file(RELATIVE_PATH FERRY_PC_PREFIX ${root}/${CMAKE_INSTALL_LIBDIR}/pkgconfig ${root})
string(REGEX REPLACE "/$" "" FERRY_PC_PREFIX "${FERRY_PC_PREFIX}")
set(FERRY_PC_LIBS_PRIVATE "${CMAKE_THREAD_LIBS_INIT}")
foreach(library IN LISTS CMAKE_DL_LIBS)
  string(APPEND FERRY_PC_LIBS_PRIVATE " -l${library}")
endforeach()
if(FERRY_URING_FOUND)
  string(APPEND FERRY_PC_LIBS_PRIVATE " -luring")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/ferry.pc.in
  ${PROJECT_BINARY_DIR}/generated/ferry.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/ferry.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
