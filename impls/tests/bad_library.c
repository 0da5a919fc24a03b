/* A kernel library that cannot be used, in the way that the build asks for. In C11: the interface promises
 * that. */
#include "normproof/kernel.h"

#if defined(NORMPROOF_NEWER_HOST)
static const np_library library = {sizeof(np_library), NP_ABI_MAJOR + 1, "from the future", "9", 0, NULL};
const np_library* normproof_library(uint32_t host_abi_major) {
  (void)host_abi_major;
  return &library;
}
#elif defined(NORMPROOF_REFUSES_HOST)
const np_library* normproof_library(uint32_t host_abi_major) {
  (void)host_abi_major;
  return NULL;
}
#elif defined(NORMPROOF_SHORT_TABLE)
static const np_library library = {8, 1, "short", "1", 0, NULL};
const np_library* normproof_library(uint32_t host_abi_major) {
  (void)host_abi_major;
  return &library;
}
#elif defined(NORMPROOF_NO_RUN)
static const np_kernel kernel = {sizeof(np_kernel), 1, "bad.no_run", "", "", NULL, NULL, NULL, NULL};
static const np_kernel* const kernels[] = {&kernel};
static const np_library library = {sizeof(np_library), 1, "no run", "1", 1, kernels};
const np_library* normproof_library(uint32_t host_abi_major) {
  (void)host_abi_major;
  return &library;
}
#elif defined(NORMPROOF_CRASHES_ON_LOAD)
#include <stdlib.h>
__attribute__((constructor)) static void crash(void) {
  abort();
}
const np_library* normproof_library(uint32_t host_abi_major) {
  (void)host_abi_major;
  return NULL;
}
#else
/* No symbol at all. */
NP_EXPORT int nothing_to_see;
int nothing_to_see = 0;
#endif
