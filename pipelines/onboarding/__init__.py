"""From folders of images, as people and publishers have them, to prepared fields that everything else reads."""
