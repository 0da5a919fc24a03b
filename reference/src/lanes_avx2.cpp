// The loops of lanes.h for AVX2 with FMA.
#define NORMPROOF_LANES avx2
#include "lanes_body.h"
#include "raw_lanes_body.h"
