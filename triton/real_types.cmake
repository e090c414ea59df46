# Writes REAL_TYPES: TRITON_TYPE(name) for each opaque type that Triton's headers in
# TRITON_INCLUDE_DIR declare.
set(types "")
foreach(header tritonserver tritonbackend)
  file(STRINGS ${TRITON_INCLUDE_DIR}/triton/core/${header}.h lines
       REGEX "^struct TRITON[A-Za-z_]+;$")
  foreach(line ${lines})
    string(REGEX REPLACE "^struct (TRITON[A-Za-z_]+).*" "TRITON_TYPE(\\1)\n" type "${line}")
    string(APPEND types "${type}")
  endforeach()
endforeach()
file(WRITE ${REAL_TYPES} "${types}")
