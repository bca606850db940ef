//! Every format gives back what it was given, and says what it cannot hold.
