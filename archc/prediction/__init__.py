"""What is done with a network once it is built: from pictures to predictions."""
