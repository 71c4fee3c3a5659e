"""Where other libraries are asked: their errors and texts enter ours here, and nothing secret leaves through them."""
