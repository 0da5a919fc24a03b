// The loops of lanes.h for any machine.
#define NORMPROOF_LANES baseline
#include "lanes_body.h"
#include "raw_lanes_body.h"
