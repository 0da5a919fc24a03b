/* The kernel library that hands every call to a Python process.
 *
 * Loaded by the worker like any other library, it holds one kernel, connects to the socket that the Python
 * package listens on, and sends each problem as a line of text and the tensors as bytes behind it. What comes
 * back goes into the caller's buffers. So a Python callable stands behind the interface that everybody stands
 * behind, and the truth is in neither process. The other side is src/normproof/_serve.py.
 *
 *   query|run key=value ... bytes=N \n payload     ->   status outputs changed claims(5) bytes length \n text
 * payload
 *
 * Tensors travel dense, batch, channel, spatial..., in the order of the tables below; strides are told, and
 * the other side lays its arrays out by them. What the callable did to its inputs is done to the caller's:
 * the worker then sees it as it sees any kernel that writes where it must not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "normproof/simple.h"

enum { input_count = 11, output_count = 12, line_size = 4096 };

static const char* const input_names[input_count] = {"x",           "gamma",   "beta",       "running_mean",
                                                     "running_var", "dy",      "saved_mean", "saved_invstd",
                                                     "v_x",         "v_gamma", "v_beta"};

/* In the order of NP_OUT_*. */
static void outputs_of(const np_tensors* t, const np_tensor* out[output_count]) {
  const np_tensor* const all[output_count] = {
      t->y,     t->mean,   t->var, t->invstd,  t->running_mean, t->running_var,
      t->dbeta, t->dgamma, t->dx,  t->grad_dy, t->grad_x,       t->grad_gamma};
  memcpy(out, all, sizeof all);
}
static void inputs_of(const np_tensors* t, const np_tensor* in[input_count]) {
  const np_tensor* const all[input_count] = {t->x,           t->gamma,   t->beta,       t->running_mean,
                                             t->running_var, t->dy,      t->saved_mean, t->saved_invstd,
                                             t->v_x,         t->v_gamma, t->v_beta};
  memcpy(in, all, sizeof all);
}

/* --- the connection --- */

static int channel = -1;

static int32_t connected(np_message message) {
  const char* const path = getenv("NORMPROOF_PYTHON_SOCKET");
  struct sockaddr_un address;
  if (channel >= 0)
    return NP_OK;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (path == NULL || strlen(path) >= sizeof address.sun_path)
    return np_tell(message, NP_UNSUPPORTED, "no Python process: it is normproof.check() that starts this");
  strcpy(address.sun_path, path);
  channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (channel < 0 || connect(channel, (struct sockaddr*)&address, sizeof address) != 0) {
    if (channel >= 0)
      close(channel);
    channel = -1;
    return np_tell(message, NP_FAILED, "the Python process does not listen any more");
  }
  return NP_OK;
}

/* A callable that takes its process down is a kernel that crashes: the worker goes with it. */
static void lost(void) {
  fputs("the Python process ended in the call\n", stderr);
  abort();
}
static void put(const void* data, size_t size) {
  const char* at = (const char*)data;
  while (size > 0) {
    const ssize_t done = send(channel, at, size, MSG_NOSIGNAL);
    if (done <= 0 && errno != EINTR)
      lost();
    if (done > 0) {
      at += done;
      size -= (size_t)done;
    }
  }
}
static void get(void* data, size_t size) {
  char* at = (char*)data;
  while (size > 0) {
    const ssize_t done = recv(channel, at, size, 0);
    if (done == 0 || (done < 0 && errno != EINTR))
      lost();
    if (done > 0) {
      at += done;
      size -= (size_t)done;
    }
  }
}

/* --- tensors as dense bytes --- */

static size_t dense_size(const np_tensor* t) {
  size_t size = t->dtype.bits / 8;
  for (int32_t axis = 0; axis < t->ndim; ++axis)
    size *= (size_t)t->shape[axis];
  return size;
}

/* In blocks of the innermost axes that lie side by side. */
static void copy(const np_tensor* t, char* dense, int from_dense) {
  const size_t size = t->dtype.bits / 8, end = dense_size(t);
  int64_t at[NP_MAX_RANK] = {0};
  int64_t block = 1;
  int32_t outer = t->ndim;
  char* const first = (char*)t->data + t->byte_offset;
  while (outer > 0 && (t->strides[outer - 1] == block || t->shape[outer - 1] == 1))
    block *= t->shape[--outer];
  for (size_t offset = 0; offset < end; offset += (size_t)block * size) {
    int64_t element = 0;
    for (int32_t axis = 0; axis < outer; ++axis)
      element += at[axis] * t->strides[axis];
    if (from_dense)
      memcpy(first + element * (int64_t)size, dense + offset, (size_t)block * size);
    else
      memcpy(dense + offset, first + element * (int64_t)size, (size_t)block * size);
    for (int32_t axis = outer; axis-- > 0;) {
      if (++at[axis] < t->shape[axis])
        break;
      at[axis] = 0;
    }
  }
}

/* --- one question and its answer --- */

typedef struct reply {
  int32_t status;
  uint32_t outputs, changed;
  int32_t accumulator_bits, variance_family, affine_form, deterministic;
  int64_t reduction_depth;
  size_t bytes, length;
} reply;

static void add_list(char* line, const char* name, const int64_t* values, int32_t count) {
  size_t end = strlen(line);
  end += (size_t)snprintf(line + end, line_size - end, " %s=", name);
  for (int32_t i = 0; i < count; ++i)
    end += (size_t)snprintf(line + end, line_size - end, "%s%" PRId64, i == 0 ? "" : ",", values[i]);
}

static void describe(char* line, const char* what, const np_problem* p) {
  snprintf(line, line_size,
           "%s pass=%d dialect=%s data=%d:%d stats=%d:%d eps=%a eps_bits=%d affine=%d running=%d threads=%d "
           "momentum_sense=%d running_variance=%d single_value=%d zero_eps=%d",
           what, p->pass, p->dialect, p->data_dtype.code, p->data_dtype.bits, p->stats_dtype.code,
           p->stats_dtype.bits, p->eps.value, p->eps.dtype.bits, p->has_affine, p->has_running, p->threads,
           p->momentum_sense, p->running_variance, p->single_value, p->zero_eps);
  if (p->has_momentum) {
    const size_t end = strlen(line);
    snprintf(line + end, line_size - end, " momentum=%a", p->momentum.value);
  }
  add_list(line, "shape", p->shape, p->ndim);
  add_list(line, "x_strides", p->x_strides, p->ndim);
  add_list(line, "y_strides", p->y_strides, p->ndim);
}

static void read_line(char* line) {
  for (size_t i = 0; i < line_size; ++i) {
    get(line + i, 1);
    if (line[i] == '\n') {
      line[i] = '\0';
      return;
    }
  }
  lost();
}

static reply answer(np_message message) {
  char line[line_size];
  reply r;
  memset(&r, 0, sizeof r);
  read_line(line);
  if (sscanf(line,
             "%" SCNd32 " %" SCNu32 " %" SCNu32 " %" SCNd32 " %" SCNd64 " %" SCNd32 " %" SCNd32 " %" SCNd32
             " %zu %zu",
             &r.status, &r.outputs, &r.changed, &r.accumulator_bits, &r.reduction_depth, &r.variance_family,
             &r.affine_form, &r.deterministic, &r.bytes, &r.length) != 10)
    lost();
  for (size_t i = 0; i < r.length; ++i) {
    char c;
    get(&c, 1);
    if (i + 1 < message.size) {
      message.text[i] = c;
      message.text[i + 1] = '\0';
    }
  }
  return r;
}

/* --- the kernel --- */

static int32_t query(const np_problem* p, np_capability* capability, np_message message) {
  char line[line_size];
  const int32_t status = connected(message);
  if (status != NP_OK)
    return status;
  if (p->in_place)
    return np_tell(message, NP_UNSUPPORTED, "not in place");
  describe(line, "query", p);
  strcat(line, " bytes=0\n");
  put(line, strlen(line));
  {
    const reply r = answer(message);
    capability->outputs = r.outputs;
    capability->claims.accumulator_bits = r.accumulator_bits;
    capability->claims.reduction_depth = r.reduction_depth;
    capability->claims.variance_family = r.variance_family;
    capability->claims.affine_form = r.affine_form;
    capability->claims.deterministic = r.deterministic;
    return r.status;
  }
}

static int32_t run(void* state, const np_tensors* t, void* stream, np_message message) {
  const np_problem* const p = (const np_problem*)state;
  const np_tensor *in[input_count], *out[output_count];
  char line[line_size];
  size_t most = 1, total = 0;
  uint32_t given = 0, wanted = 0;
  char* dense;
  (void)stream;
  if (connected(message) != NP_OK)
    return NP_FAILED;
  inputs_of(t, in);
  outputs_of(t, out);
  for (int i = 0; i < input_count; ++i)
    if (in[i] != NULL) {
      given |= 1u << i;
      total += dense_size(in[i]);
      most = most > dense_size(in[i]) ? most : dense_size(in[i]);
    }
  for (int i = 0; i < output_count; ++i)
    if (out[i] != NULL) {
      wanted |= 1u << i;
      most = most > dense_size(out[i]) ? most : dense_size(out[i]);
    }
  dense = (char*)malloc(most);
  if (dense == NULL)
    return np_tell(message, NP_FAILED, "no memory");

  describe(line, "run", p);
  if (p->pass == NP_FORWARD_TRAINING && t->num_batches_tracked != NULL) {
    const size_t end = strlen(line);
    snprintf(line + end, line_size - end, " num_batches_tracked=%" PRId64, ++*t->num_batches_tracked);
  }
  {
    size_t end = strlen(line);
    end += (size_t)snprintf(line + end, line_size - end, " given=");
    for (int i = 0; i < input_count; ++i)
      if (given >> i & 1u)
        end += (size_t)snprintf(line + end, line_size - end, "%s,", input_names[i]);
    snprintf(line + end, line_size - end, " wanted=%" PRIu32 " bytes=%zu\n", wanted, total);
  }
  put(line, strlen(line));
  for (int i = 0; i < input_count; ++i)
    if (in[i] != NULL) {
      copy(in[i], dense, 0);
      put(dense, dense_size(in[i]));
    }

  {
    const reply r = answer(message);
    if (r.status == NP_OK)
      for (int i = 0; i < output_count; ++i)
        if (r.outputs >> i & 1u) {
          get(dense, dense_size(out[i]));
          copy(out[i], dense, 1);
        }
    if (r.status == NP_OK)
      for (int i = 0; i < input_count; ++i)
        if (r.changed >> i & 1u) {
          get(dense, dense_size(in[i]));
          copy(in[i], dense, 1);
        }
    free(dense);
    return r.status;
  }
}

/* --- the library: one kernel, by the name that the Python process gave it --- */

NP_EXPORT const np_library* normproof_library(uint32_t host_abi_major) {
  static char name[128] = "python.kernel";
  static np_kernel kernel;
  static const np_kernel* const kernels[] = {&kernel};
  static np_library library;
  const char* const given = getenv("NORMPROOF_PYTHON_NAME");
  if (given != NULL)
    snprintf(name, sizeof name, "python.%s", given);
  kernel.struct_size = sizeof kernel;
  kernel.device_type = 1;
  kernel.name = name;
  kernel.summary = "a Python callable";
  kernel.worst_known = "";
  kernel.query = query;
  kernel.create = np_simple_create;
  kernel.run = run;
  kernel.destroy = free;
  library.struct_size = sizeof library;
  library.abi_major_minimum = 1;
  library.name = "python";
  library.version = getenv("NORMPROOF_PYTHON_VERSION") != NULL ? getenv("NORMPROOF_PYTHON_VERSION") : "";
  library.kernel_count = 1;
  library.kernels = kernels;
  return host_abi_major >= 1 ? &library : NULL;
}
