"""Pictures: Panda3D's software renderer, meshes, eight cameras, weather."""
