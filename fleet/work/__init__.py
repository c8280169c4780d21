"""What every stage works with (``workspace``), and children that leave nothing behind (``process``)."""
