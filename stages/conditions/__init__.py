"""Poses, landmarks and label maps become the semantic image s_t that networks see."""
