/* What this build of the library is made of; CMake writes it. */
#ifndef FERRY_BASE_BUILD_H
#define FERRY_BASE_BUILD_H

extern const char ferry__build_drivers[], ferry__build_libraries[];

#endif
