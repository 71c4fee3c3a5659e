"""What `securedata encrypt` alone needs: the corpus it writes to, its rehearsal, what earlier runs did not take."""
