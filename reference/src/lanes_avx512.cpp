// The loops of lanes.h for AVX-512 (F, DQ, BW, VL).
#define NORMPROOF_LANES avx512
#include "lanes_body.h"
#include "raw_lanes_body.h"
