/* Where llama.cpp runs: GPUs of this machine, and servers of its RPC backend. */
#include "forward/llama/devices.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

/* ggml ends the process when a server does not answer: one that cannot be reached is found here. */
static int try_server(const struct nki_llama_open *how, const char *endpoint) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  char host[256];
  const char *colon = strrchr(endpoint, ':');
  char *end = NULL;
  long port = colon == NULL ? 0 : strtol(colon + 1, &end, 10);
  if (colon == NULL || colon == endpoint || (size_t)(colon - endpoint) >= sizeof host ||
      end == colon + 1 || *end != 0 || port < 1 || port > 65535)
    return how->fail(NK_EUSAGE, "server '%s': HOST:PORT is expected", endpoint);
  snprintf(host, sizeof host, "%.*s", (int)(colon - endpoint), endpoint);
  int status = getaddrinfo(host, colon + 1, &hints, &found);
  if (status != 0) return how->fail(NK_EIO, "server '%s': %s", endpoint, gai_strerror(status));
  int error = ECONNREFUSED;
  for (const struct addrinfo *a = found; a != NULL && error != 0; a = a->ai_next) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof error;
    error = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS && poll(&wait, 1, CONNECT_MS) != 1)
      error = ETIMEDOUT;
    else if (error == EINPROGRESS && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
      error = errno;
    close(fd);
  }
  freeaddrinfo(found);
  return error == 0 ? NK_OK : how->fail(NK_EIO, "server '%s': %s", endpoint, strerror(error));
}

static int add_device(const struct nki_llama_open *how, struct nki_llama_devices *devices,
                      ggml_backend_dev_t device) {
  if (devices->n == NKI_MOST_DEVICES)
    return how->fail(NK_EUNSUPPORTED, "more than %d devices", NKI_MOST_DEVICES);
  devices->item[devices->n++] = device;
  return NK_OK;
}

static int add_servers(const struct nki_llama_open *how, struct nki_llama_devices *devices) {
  ggml_backend_reg_t (*add)(const char *endpoint) = NULL;
  ggml_backend_reg_t registry = ggml_backend_reg_by_name("RPC");
  if (registry != NULL) {
    void *address = ggml_backend_reg_get_proc_address(registry, "ggml_backend_rpc_add_server");
    memcpy(&add, &address, sizeof add);
  }
  if (add == NULL)
    return how->fail(NK_EUNSUPPORTED, "the installed llama.cpp was built without its RPC backend");
  char *list = strdup(how->rpc), *rest = list, *endpoint;
  int code = list == NULL ? how->fail(NK_EMEMORY, "out of memory") : NK_OK;
  while (code == NK_OK && (endpoint = strsep(&rest, ",")) != NULL) {
    code = try_server(how, endpoint);
    ggml_backend_reg_t server = code == NK_OK ? add(endpoint) : NULL;
    if (code == NK_OK && server == NULL)
      code = how->fail(NK_EIO, "server '%s' offers no device", endpoint);
    for (size_t i = 0; code == NK_OK && i < ggml_backend_reg_dev_count(server); i++)
      code = add_device(how, devices, ggml_backend_reg_dev_get(server, i));
  }
  free(list);
  return code;
}

static int add_gpus(const struct nki_llama_open *how, struct nki_llama_devices *devices) {
  size_t before = devices->n;
  int code = NK_OK;
  for (size_t i = 0; code == NK_OK && i < ggml_backend_dev_count(); i++) {
    ggml_backend_dev_t device = ggml_backend_dev_get(i);
    enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    if (type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU)
      code = add_device(how, devices, device);
  }
  if (code == NK_OK && devices->n == before)
    code = how->fail(NK_EUNSUPPORTED, "llama.cpp finds no GPU that its backends can use");
  return code;
}

int nki_llama_find_devices(const struct nki_llama_open *how, struct nki_llama_devices *devices) {
  *devices = (struct nki_llama_devices){.n = 0};
  if (how->rpc != NULL) return add_servers(how, devices);
  return how->n_gpu_layers > 0 ? add_gpus(how, devices) : NK_OK;
}
