"""The protocol of Bitrix24: its OAuth dialect, REST, frame posts and events; it does not use our database."""
