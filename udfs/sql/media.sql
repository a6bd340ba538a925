-- The vector of a sound file (WAV, FLAC, Ogg, MP3): FLOAT[], unit length. NULL for NULL.
CREATE MACRO embed_audio(file) AS aios_embed_audio(file);

-- The vector of a picture file in the space of CLIP: FLOAT[], unit length. NULL for NULL.
CREATE MACRO embed_image(file) AS aios_embed_image(file);
