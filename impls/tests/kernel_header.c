/* kernel.h is a C11 header without dependencies, and np_tensor is DLPack's DLTensor byte for byte: a
 * framework hands its tensors over unconverted. The offsets are those of dlpack.h on 64-bit targets. */
#include "normproof/kernel.h"
#include "normproof/simple.h"

_Static_assert(sizeof(np_device) == 8, "DLDevice");
_Static_assert(offsetof(np_device, type) == 0 && offsetof(np_device, id) == 4, "DLDevice");

_Static_assert(sizeof(np_dtype) == 4, "DLDataType");
_Static_assert(offsetof(np_dtype, code) == 0 && offsetof(np_dtype, bits) == 1, "DLDataType");
_Static_assert(offsetof(np_dtype, lanes) == 2, "DLDataType");

_Static_assert(sizeof(np_tensor) == 48, "DLTensor");
_Static_assert(offsetof(np_tensor, data) == 0, "DLTensor.data");
_Static_assert(offsetof(np_tensor, device) == 8, "DLTensor.device");
_Static_assert(offsetof(np_tensor, ndim) == 16, "DLTensor.ndim");
_Static_assert(offsetof(np_tensor, dtype) == 20, "DLTensor.dtype");
_Static_assert(offsetof(np_tensor, shape) == 24, "DLTensor.shape");
_Static_assert(offsetof(np_tensor, strides) == 32, "DLTensor.strides");
_Static_assert(offsetof(np_tensor, byte_offset) == 40, "DLTensor.byte_offset");

_Static_assert(offsetof(np_problem, struct_size) == 0, "struct_size stands first");
_Static_assert(offsetof(np_claims, struct_size) == 0, "struct_size stands first");
_Static_assert(offsetof(np_capability, struct_size) == 0, "struct_size stands first");
_Static_assert(offsetof(np_tensors, struct_size) == 0, "struct_size stands first");
_Static_assert(offsetof(np_kernel, struct_size) == 0, "struct_size stands first");
_Static_assert(offsetof(np_library, struct_size) == 0, "struct_size stands first");

/* What C makes of the structs, for comparison with C++ in interface.test.cpp. */
size_t sizes_in_c(int which);
size_t sizes_in_c(int which) {
  const size_t sizes[] = {sizeof(np_problem), sizeof(np_claims), sizeof(np_capability),
                          sizeof(np_tensors), sizeof(np_kernel), sizeof(np_library)};
  return sizes[which];
}
