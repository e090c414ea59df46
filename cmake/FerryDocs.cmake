# What Doxygen makes of the public headers, where it is: ferry_reference (pages for a browser, in
# reference/html), a manual page for each function (man3, installed), and with mkdocs the whole site
# (ferry_docs, in site/).
find_package(Doxygen QUIET)
if(NOT DOXYGEN_FOUND)
  message(STATUS "reference: not made (no doxygen); ferry(3) is the only manual page of the library")
  return()
endif()

set(doxyfile ${PROJECT_BINARY_DIR}/generated/Doxyfile)
configure_file(${PROJECT_SOURCE_DIR}/docs/Doxyfile.in ${doxyfile} @ONLY)
file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/ferry/*)
set(stamp ${PROJECT_BINARY_DIR}/reference/made)
set(pages ${PROJECT_BINARY_DIR}/generated/man3)
string(TIMESTAMP today "%Y-%m-%d" UTC) # SOURCE_DATE_EPOCH is heeded
add_custom_command(OUTPUT ${stamp}
  COMMAND Doxygen::doxygen ${doxyfile}
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${pages}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${pages}
  COMMAND sh -c "awk -v out=${pages} -v date=${today} -f ${PROJECT_SOURCE_DIR}/scripts/man_pages.awk ${PROJECT_BINARY_DIR}/reference/man/man3/[a-z]*.h.3"
  COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
  DEPENDS ${headers} ${doxyfile} ${PROJECT_SOURCE_DIR}/scripts/man_pages.awk
          ${PROJECT_SOURCE_DIR}/scripts/doxygen_filter.awk
  COMMENT "The reference of the headers" VERBATIM)
add_custom_target(ferry_reference DEPENDS ${stamp})
add_dependencies(ferry_all ferry_reference)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr") # the packages have all that is installed
  set_target_properties(ferry_reference PROPERTIES EXCLUDE_FROM_ALL OFF)
  add_custom_target(ferry_reference_all ALL COMMAND sh -c "gzip -9nf ${pages}/*.3 2>/dev/null || true"
                    VERBATIM)
  add_dependencies(ferry_reference_all ferry_reference)
endif()
install(DIRECTORY ${pages}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT development OPTIONAL)

add_custom_target(ferry_docs
  COMMAND ${PROJECT_SOURCE_DIR}/scripts/site.sh ${PROJECT_BINARY_DIR}/site
          ${PROJECT_BINARY_DIR}/reference/html
  VERBATIM)
add_dependencies(ferry_docs ferry_reference)
