"""The only thing vehicle and fleet share: records, axes, units and the wire. Depends on numpy and msgspec alone."""
