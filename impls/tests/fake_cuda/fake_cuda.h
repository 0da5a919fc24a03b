// What a test kernel may do to the fake driver that it runs under (fake_cuda.cpp), found with dlsym.
#pragma once

#define NP_FAKE __attribute__((visibility("default")))

extern "C" {
/// From now on every call gives that error, as after an illegal access: the context is lost.
NP_FAKE void fake_cuda_stick(int result);
/// Runs work(argument) on a stream that is nobody's: when the context is synchronised, not before.
NP_FAKE void fake_cuda_later(void (*work)(void*), void* argument);
}
