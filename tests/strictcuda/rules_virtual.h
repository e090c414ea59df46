/* The rules of virtual memory, of descriptors and of peers, broken on purpose. */
#ifndef STRICTCUDA_RULES_VIRTUAL_H
#define STRICTCUDA_RULES_VIRTUAL_H

void test_virtual(void **unused);
void test_descriptor(void **unused);
void test_peer(void **unused);

#endif
