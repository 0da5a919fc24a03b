#include "normproof/suite.h"

NORMPROOF_CONFORMANCE_SUITE(Mine, {.library = MINE, .filter = {.dtypes = {"f32"}, .layouts = {"contiguous"}}})
