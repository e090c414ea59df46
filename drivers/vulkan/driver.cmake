# The Vulkan driver needs Vulkan's headers (1.3.215 or newer) and nothing to link: it opens the
# loader when it runs.
find_path(FERRY_VULKAN_INCLUDE vulkan/vulkan_core.h)
mark_as_advanced(FERRY_VULKAN_INCLUDE)
if(NOT FERRY_VULKAN_INCLUDE)
  message(FATAL_ERROR "The Vulkan driver needs Vulkan's headers (Debian: libvulkan-dev): run "
                      "scripts/setup.sh, or configure with -DFERRY_DRIVER_VULKAN=OFF")
endif()
# /usr/include is searched anyway, and naming it would put it before the compiler's own.
if(NOT FERRY_VULKAN_INCLUDE STREQUAL "/usr/include")
  target_include_directories(ferry_objects SYSTEM PUBLIC ${FERRY_VULKAN_INCLUDE})
endif()
