/* The rules of virtual memory and of descriptors, broken on purpose. */
#ifndef STRICTCUDA_RULES_VIRTUAL_H
#define STRICTCUDA_RULES_VIRTUAL_H

void test_virtual(void **unused);
void test_descriptor(void **unused);

#endif
