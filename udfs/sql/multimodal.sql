-- A picture or a sound as it is given: the bytes of a file, or the text of a path or URI.
CREATE MACRO medium(given) AS list_transform([given], lambda each: {
    'file': CASE WHEN typeof(each) <> 'VARCHAR' THEN each::BLOB END,
    'uri': CASE WHEN typeof(each) = 'VARCHAR' THEN each::VARCHAR END
})[1];

-- The vector of a sound (WAV, FLAC, Ogg, MP3 …; bytes, a path or a URI): FLOAT[], unit length. NULL for NULL, and for what
-- cannot be read among others that can; that is logged.
CREATE MACRO embed_audio(file) AS aios_embed_audio(medium(file));

-- The vector of a picture (JPEG, PNG, WebP …; bytes, a path or a URI): FLOAT[], unit length. NULL as of embed_audio.
CREATE MACRO embed_image(file) AS aios_embed_image(medium(file));

-- The vector of an item by an encoder that was registered under a name: FLOAT[], unit length. `embed_<name>(item)` is the same.
CREATE MACRO embed_with(name, item) AS aios_embed_with(name::VARCHAR, medium(item));

-- The vector of a text, a picture, a sound, or several of them together in the joint space: FLOAT[], unit length. What is NULL
-- is not there; NULL where nothing is.
CREATE MACRO embed_joint(content, image := NULL, audio := NULL) AS
aios_embed_joint(content::VARCHAR, medium(image), medium(audio));

-- Which space finds pictures and sounds, a row per modality: the joint space that was fitted, with the encoder that it was fitted
-- with and the one that is here; where none was fitted CLIP's own, if it is installed, or else `text`: pictures and sounds are then
-- found by the words of their memories.
CREATE MACRO joint_space() AS TABLE SELECT unnest(aios_joint_space(true), recursive := true);

-- Pictures and sounds of memories that could not be read for the joint space, so that nothing but words finds them: memory_id, modality,
-- its path or URI (NULL where the database holds its bytes), and when the memory was stored. Update its image or audio.
CREATE VIEW unreadable_media AS
SELECT memory_id, modality, CASE WHEN modality = 'image' OR starts_with(media_type, 'audio/') THEN media_uri ELSE audio_uri END AS uri, created_at
FROM (SELECT *, unnest(regexp_extract_all(joint_weight_version, ' !(\w+)', 1)) AS modality FROM memories);
