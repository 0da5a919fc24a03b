// forward.cpp for the device.
#include "cuda/forward.cpp"
