// The arithmetic that proven bounds stand on.
#pragma once

namespace normproof::reference {

/// Throws std::runtime_error, naming what is wrong, unless this thread rounds to nearest, keeps subnormal
/// results (no FTZ) and reads subnormal operands (no DAZ).
void require_ieee_arithmetic();

}  // namespace normproof::reference
