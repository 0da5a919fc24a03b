// backward.cpp for the device.
#include "cuda/backward.cpp"
