add_library(noken_faiss_c INTERFACE)
