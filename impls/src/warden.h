// The warden: our own process between the host and a worker, so that nothing a kernel starts outlives it.
//
// A kernel may fork, and its children may leave its process group; a host that is killed cannot end them.
// The warden inherits every orphan below it, sees the host's death as the end of a pipe, and never runs
// foreign code.
#pragma once

#include <sys/types.h>

namespace normproof::impls {

/// Splits the process: returns in the child, the worker, which dies when the warden does. The warden waits
/// for the worker's end or for that of the pipe `life`, ends whatever is left below it, and then ends as the
/// worker did: the host's wait sees the worker's signal or exit status.
void become_worker_under_warden(int life);

}  // namespace normproof::impls
