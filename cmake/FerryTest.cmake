# ferry_add_test(NAME SOURCES file... [LIBRARIES target...])
#   One cmocka program, one CTest test of the same name. It sees the library's internals.
# ferry_test_configuration(TARGET CONFIGURATION [argument...])
#   Runs a program once more on a configuration: the CTest test is TARGET.CONFIGURATION, labelled
#   CONFIGURATION. The arguments default to the configuration's name. scripts/test.sh says how many
#   tests ran on each, and fails if one ran none.
# ferry_altered(OUT_SOURCE NAME FILE FROM TO)
#   A copy of a source of the library with one thing in it altered, wherever it stands; NAME tells
#   copies apart. A program made of it has the copy's functions in place of the library's.
# ferry_test_configurations(TARGET FILE)
#   Does so for every configuration that FILE, a table in C, names: `{.name = "host", ...`.
find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
if(NOT CMOCKA_FOUND)
  message(FATAL_ERROR "The tests need cmocka: run scripts/setup.sh, or configure with "
                      "-DFERRY_TESTS=OFF")
endif()

# No test takes a quarter of this, but under the thread sanitizer on a loaded machine (280 s were
# seen); one that takes all of it hangs.
set(FERRY_TEST_TIMEOUT 1200)

function(ferry_test_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  ferry_compile(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ferry_internals Threads::Threads PkgConfig::CMOCKA
                        ${arg_LIBRARIES})
endfunction()

function(ferry_add_test name)
  ferry_test_program(${name} ${ARGN})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${FERRY_TEST_TIMEOUT})
endfunction()

function(ferry_test_configuration target configuration)
  set(arguments ${ARGN})
  if(NOT arguments)
    set(arguments ${configuration})
  endif()
  add_test(NAME ${target}.${configuration} COMMAND ${target} ${arguments})
  set_tests_properties(${target}.${configuration} PROPERTIES
    TIMEOUT ${FERRY_TEST_TIMEOUT} LABELS ${configuration})
endfunction()

function(ferry_altered out_source name file from to)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
  file(READ ${PROJECT_SOURCE_DIR}/${file} text)
  string(REPLACE "${from}" "${to}" altered "${text}")
  if(altered STREQUAL text)
    message(FATAL_ERROR "${name}: ${file} has no \"${from}\" to alter")
  endif()
  get_filename_component(base ${file} NAME)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/altered/${name}/${base})
  file(CONFIGURE OUTPUT ${source} CONTENT "@altered@" @ONLY)
  set(${out_source} ${source} PARENT_SCOPE)
endfunction()

function(ferry_test_configurations target file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(STRINGS ${file} lines REGEX "{\\.name = \"")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "{\\.name = \"([^\"]+)\"" ignored "${line}")
    ferry_test_configuration(${target} ${CMAKE_MATCH_1})
  endforeach()
endfunction()

# Vulkan is tested through the strict Vulkan (tests/strictvk). Mesa's software driver is not
# instrumented: ThreadSanitizer sees its copies but not its locks.
set(FERRY_VULKAN_TEST_ENVIRONMENT
  FERRY_VULKAN_LIBRARY=$<TARGET_FILE:strictvk>
  TSAN_OPTIONS=ignore_noninstrumented_modules=1
  LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/strictvk/lsan.supp:print_suppressions=0)

# ferry_vulkan_environment(TARGET FILE): the tests of the configurations that FILE names see Vulkan
# through the strict one.
function(ferry_vulkan_environment target file)
  file(STRINGS ${file} lines REGEX "{\\.name = \"")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "{\\.name = \"([^\"]+)\"" ignored "${line}")
    set_tests_properties(${target}.${CMAKE_MATCH_1} PROPERTIES
      ENVIRONMENT "${FERRY_VULKAN_TEST_ENVIRONMENT}")
  endforeach()
endfunction()

# ferry_test_devices(OUT_DRIVERS OUT_ENVIRONMENT): the drivers that have a device in the tests, and
# the environment in which they have it: Vulkan and CUDA through the strict ones, Metal through
# the simulator.
function(ferry_test_devices out_drivers out_environment)
  set(drivers ${FERRY_DRIVERS_IN})
  set(environment "")
  if(TARGET strictvk)
    list(APPEND environment ${FERRY_VULKAN_TEST_ENVIRONMENT})
  endif()
  get_property(metalsim GLOBAL PROPERTY FERRY_METALSIM_ENVIRONMENT)
  list(APPEND environment ${metalsim})
  get_property(strictcuda GLOBAL PROPERTY FERRY_STRICTCUDA_ENVIRONMENT)
  list(APPEND environment ${strictcuda})
  if(NOT strictcuda)
    list(REMOVE_ITEM drivers cuda)
  endif()
  if(NOT metalsim AND NOT APPLE)
    list(REMOVE_ITEM drivers metal)
  endif()
  set(${out_drivers} ${drivers} PARENT_SCOPE)
  set(${out_environment} ${environment} PARENT_SCOPE)
endfunction()

# ferry_starve(TARGET): memory that fails when the test says so (tests/starve). Every malloc, where no
# sanitizer has taken its place; then those of the program's own objects.
function(ferry_starve target)
  set(how malloc)
  if(APPLE)
    set(how ours)
  elseif(FERRY_SANITIZE)
    set(how wrap)
    target_link_options(${target} PRIVATE
      -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
  endif()
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/starve/starve_${how}.c)
endfunction()
