# The version stands in one place, the public header.
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/../include/ferry/ferry.h lines
     REGEX "#define FERRY_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
list(JOIN numbers "." FERRY_HEADER_VERSION)
if(NOT FERRY_HEADER_VERSION MATCHES "^[0-9]+\\.[0-9]+\\.[0-9]+$")
  message(FATAL_ERROR "include/ferry/ferry.h does not tell its version")
endif()
