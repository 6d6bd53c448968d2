public class Main {
    public static void main(String[] args) {
        long most = Runtime.getRuntime().maxMemory() >> 20;
        String source = System.getProperty("java.security.egd").replace("file:", "");
        System.out.println("heap of " + most + " MiB, " + source);
    }
}
