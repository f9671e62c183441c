"""How runs are shown: figures, one-file HTML reports, terminal texts. Made from run folders alone."""
