//! clip_folder
