# ferry_objects: the objects, compiled once.
# ferry, ferry_static: the two libraries made of them. The shared one shows public functions only.
# ferry_internals: for tests, the static one with the headers of src/. From an archive a program
# takes what it uses, so a unit test is small, and stands while another part is in pieces.
add_library(ferry_objects OBJECT ${FERRY_LIBRARY_SOURCES})
ferry_compile(ferry_objects)
set_target_properties(ferry_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_include_directories(ferry_objects
  PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
target_link_libraries(ferry_objects PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
target_include_directories(ferry_objects PRIVATE ${URING_INCLUDE_DIRS})

# What a driver needs beyond that (definitions, headers, libraries) stands in its own folder.
foreach(driver IN LISTS FERRY_DRIVERS_IN)
  target_include_directories(ferry_objects PUBLIC ${PROJECT_SOURCE_DIR}/drivers/${driver})
  include(${PROJECT_SOURCE_DIR}/drivers/${driver}/driver.cmake OPTIONAL)
endforeach()

add_library(ferry SHARED $<TARGET_OBJECTS:ferry_objects>)
add_library(ferry_static STATIC $<TARGET_OBJECTS:ferry_objects>)
add_library(Ferry::ferry ALIAS ferry)
add_library(Ferry::ferry_static ALIAS ferry_static)
foreach(library ferry ferry_static)
  target_include_directories(${library} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${library} PRIVATE Threads::Threads ${CMAKE_DL_LIBS}
    ${FERRY_FILE_LIBRARIES})
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME ferry)
endforeach()
ferry_harden(ferry)
set_target_properties(ferry PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${FERRY_ABI})

add_library(ferry_internals INTERFACE)
target_link_libraries(ferry_internals INTERFACE ferry_static)
target_include_directories(ferry_internals INTERFACE
  $<TARGET_PROPERTY:ferry_objects,INTERFACE_INCLUDE_DIRECTORIES>)

# Visibility is hidden already; the list also keeps out what other objects bring along.
if(APPLE)
  set(exports ${PROJECT_SOURCE_DIR}/cmake/ferry.exports)
  target_link_options(ferry PRIVATE -Wl,-exported_symbols_list,${exports})
else()
  set(exports ${PROJECT_SOURCE_DIR}/cmake/ferry.map)
  # Threads that copy live as long as the process: the library is never unloaded.
  target_link_options(ferry PRIVATE -Wl,--version-script=${exports} -Wl,-z,nodelete)
endif()
set_target_properties(ferry PROPERTIES LINK_DEPENDS ${exports})
