"""Tables of other formats: label ids, skeletons, face meshes."""
