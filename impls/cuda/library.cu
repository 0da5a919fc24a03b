// library.cpp for the device.
#include "cuda/library.cpp"
