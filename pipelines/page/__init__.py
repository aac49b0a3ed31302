"""What a person reads: stories, sentences, pages."""
