/* An RPC server of llama.cpp for tests: rpc-server LIBRARIES RPC PORT serves the processor, by the
 * backends of the folder LIBRARIES and by the library RPC, on PORT of this machine alone. */
#include <ggml-backend.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  char endpoint[64];
  void (*serve)(const char *endpoint, const char *cache, size_t n_threads, size_t n_devices,
                ggml_backend_dev_t *devices) = NULL;
  if (argc != 4) return 2;
  ggml_backend_load_all_from_path(argv[1]);
  ggml_backend_reg_t rpc = ggml_backend_load(argv[2]);
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (rpc == NULL || device == NULL) return 1;
  void *address = ggml_backend_reg_get_proc_address(rpc, "ggml_backend_rpc_start_server");
  if (address == NULL) return 1;
  memcpy(&serve, &address, sizeof serve);
  snprintf(endpoint, sizeof endpoint, "127.0.0.1:%s", argv[3]);
  serve(endpoint, NULL, 1, 1, &device);
  return 1;
}
