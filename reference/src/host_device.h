// Functions that a device's compiler takes too. Any other sees nothing of it.
#pragma once

#ifdef __CUDACC__
#define NORMPROOF_HOST_DEVICE __host__ __device__
#else
#define NORMPROOF_HOST_DEVICE
#endif
