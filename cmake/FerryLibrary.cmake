# ferry_objects: the objects, internals visible, for unit tests.
# ferry, ferry_static: the two libraries made of them, public functions only.
add_library(ferry_objects OBJECT ${FERRY_LIBRARY_SOURCES})
ferry_compile(ferry_objects)
set_target_properties(ferry_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_include_directories(ferry_objects
  PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
target_link_libraries(ferry_objects PUBLIC Threads::Threads ${CMAKE_DL_LIBS})

# What a driver needs beyond that (definitions, headers, libraries) stands in its own folder.
foreach(driver IN LISTS FERRY_DRIVERS_IN)
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
  target_link_libraries(${library} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME ferry)
endforeach()
set_target_properties(ferry PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${FERRY_ABI})

# Visibility is hidden already; the list also keeps out what other objects bring along.
if(APPLE)
  set(exports ${PROJECT_SOURCE_DIR}/cmake/ferry.exports)
  target_link_options(ferry PRIVATE -Wl,-exported_symbols_list,${exports})
else()
  set(exports ${PROJECT_SOURCE_DIR}/cmake/ferry.map)
  target_link_options(ferry PRIVATE -Wl,--version-script=${exports})
endif()
set_target_properties(ferry PROPERTIES LINK_DEPENDS ${exports})
