"""Where other libraries are called: their errors become ours here, and no secret leaves through their texts."""
