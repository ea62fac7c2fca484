"""How Bitrix24 talks: its OAuth dialect, REST, frame posts and events; knows nothing of our database."""
