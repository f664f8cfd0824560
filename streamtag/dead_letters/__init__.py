"""What a person does with dead letters: list, show, group, replay. Pure parts, and a Kafka shell around them."""
